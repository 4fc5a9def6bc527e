"""What the SDK's producer is made of; the door to it is `redrive.producer`.

``carried.py`` says what an event may have; ``outlets.py`` has a dispatcher (`redrive.dispatch`) for each cluster.
"""
