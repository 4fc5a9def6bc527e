"""The demo: real events through a real outage, and an independent reader's word on what came of them."""
