"""What puts Redrive to work on a machine: the command line and the local stack."""
