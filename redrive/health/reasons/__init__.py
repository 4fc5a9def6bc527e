"""Why a cluster is not well: each part of the facts has a file that judges it, and names the way out."""
