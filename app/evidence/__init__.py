"""Evidence: the picture and the clip of an incident, kept until the object store has them."""
