"""Bringing a compacted topic to another schema where it is: each key's newest event is published again behind it.

Kafka can't write a value on condition that nobody else has written a newer one. Its log tells afterwards, though: the
order of a partition is one for all, and what stands in it does not move. So each batch is published in a transaction,
and before that is committed, all that was written meanwhile is read, by whomever, committed or not. Does an event of
one of the batch's keys stand between the one that was read and the one that was published for it, the transaction is
aborted. Then the log is read until it is clear what has become of others' transactions, and keys that have a newer
event are left to that. What comes behind the published event is newer, and prevails, as it should.

So for who reads what is committed, no event of ours ever comes behind a newer one: no value goes back, no deleted key
comes to life again. Compaction works meanwhile: it takes a deletion away some time (`delete.retention.ms`, a day by
default) after what that has deleted. So the partition is read on before half of that time has passed, or, as after a
long pause, anew.

Who reads what is not committed (the default of Kafka's Java consumers) sees events of aborted transactions as well, and
by compaction's rule takes the last one for the key's value. So where one of those stands behind a newer event, that
newer event is published once more: migrated, or as it is if it is a deletion or can't be. After a crash the next run
does that: it finds such events by their headers, from a place that is committed with each batch.

There is nothing to go on with: what has been published again has the new schema, so the next run passes it over. The
cursor is for totals, for the place just named, and to keep two runs apart.

Keys are held as 16 bytes of hash (XXH3) with an offset: about 150 bytes of memory each, for at most 1,000,000 offsets
of a partition at a time; what is behind these is read once for each such window.
"""
