"""What the SDK's consumer is made of; the door to it is `redrive.consumer`.

From Kafka: ``intake.py`` is one cluster's consumer, and ``intakes.py`` all of them; ``commits.py`` keeps what is done
until the group has it, and ``putting_back.py`` what is to be read again.

To the handler: ``handling.py`` says what becomes of a message in hand (``taken.py``), by ``opening.py``,
``repetitions.py`` and ``dead_letters.py``; ``in_hand.py`` is a batch.

To another topic: ``going_over.py`` takes a group there, by what ``alias_watch.py`` hears and ``handover.py`` decides;
``successors.py`` says which topics it may go to.
"""
