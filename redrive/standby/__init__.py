"""The standby store: sealed logs and lanes in DynamoDB; how events survive an outage and come back in order."""
