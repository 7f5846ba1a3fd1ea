"""The classifiers, one file a family: what each learns is a value of `protocol.Classifier`."""
