"""Many events of one schema at once: decoded to columns (Apache Arrow), brought to the target's schema, encoded again.

For schemas that `redrive.migrations.columns.coverage` takes, this gives to the byte what `Migrator.migrate` gives, at a
small part of the time. What codes Avro is pyruhvro, in Rust. It is young, so nothing is taken from it on trust:

- An event whose value it does not encode again to the very bytes that it has decoded is left to the per-event way. That
  finds trailing bytes, numbers in more bytes than they need, arrays in several blocks, integers out of range.
- Its strings are checked to be UTF-8, which it does not do.
- What it has encoded for the target is decoded again, and the columns must be the same.
- Of each group that is migrated, one event is migrated the other way, too. If that gives anything else, columns are not
  used again for its schema.
- An error, a panic of Rust's included, halves the batch, until few events are left. Those go the per-event way,
  which says what is wrong with each.

That columns and the per-event way agree for what is covered is for tests/properties/test_columns.py to show.

pyarrow takes a quarter of a second and 45 MB to import; only what uses columns does so.
"""
