"""Files of strangers as data: arrays, JSON and networks, with sizes checked before memory is taken and nothing run."""
