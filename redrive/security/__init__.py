"""Who may do what: the least that each role needs, as Kafka's ACLs and as policies of AWS IAM."""
