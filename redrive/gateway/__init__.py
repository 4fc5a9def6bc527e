"""The door for partners outside: events by HTTP, authenticated, authorised, checked, and safe before they are accepted.

A partner sends CloudEvents 1.0 in JSON to ``POST /v1/events/{type}``: one (``application/cloudevents+json``) or several
(``application/cloudevents-batch+json``). It names event types; which topics they go to is not its business.

What is guaranteed
------------------
- An event that was answered by 202 is acknowledged by Kafka, or by the standby store from where a replay brings it to
  Kafka: see `redrive.producer`, whose guarantees hold here, too. While Kafka is away, partners notice nothing but
  seconds of delay at its beginning.
- An event that does not fit its schema is refused (422), with each field and reason, and leaves no trace.
- An event is known by its partner, source and id. The same one sent again is answered as before and not published
  again, as far as the process that answers remembers it (``remember_seconds``, ``remember_events`` of each partner).
  With another content it is refused (409).
- Beyond that memory (after a restart, in another worker process), it is published again under the same id,
  ``<partner>/<source>/<id>``, so that consumers of the SDK drop it within their own window; and so is another content
  under that id, since nobody there knows of the first one.
- After any other answer, or none, it may be in Kafka or not; sending it again, as it was, is right.

What is not guaranteed
----------------------
- Order between requests that are under way at the same time. Events of one batch, and of requests that wait for each
  other's answers, stay in order if they have the same ``partitionkey``.
- Quotas over several worker processes or machines: each process counts for itself.
- That Kafka takes what fits its schema: what it refuses for good (no ACL, a clock that is days ahead) was answered by
  202, and is kept as a dead letter of the gateway; its log and metrics tell.
- Protection from senders that never finish their headers, and TLS: both are a load balancer's or proxy's work.
"""
