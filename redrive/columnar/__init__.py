"""Events by the thousand, without Python objects: read, kept as columns, summed up, produced by compiled loops.

For a job that copies a topic, most of the time is spent on making Python objects of events and of their headers, twice.
Here librdkafka's own calls are made by loops that numba compiles, and what travels between them is `EventColumns`: to
whoever does not know columns a sequence of events like any other, made when they are asked for.

Clients stay those of confluent-kafka: it connects, assigns, begins, commits, aborts and says what goes wrong. Only
the calls that move events go past it, ``rd_kafka_consume_batch_queue`` and ``rd_kafka_produceva``, with the handle that
its objects hold, and those by which C reads and makes messages.
`redrive.columnar.librdkafka.usable` says whether that can be done; where it can't, events travel one by one, with the
same result.
"""
