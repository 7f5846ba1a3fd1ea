"""The classifiers, one file a family. What each learns is a value of `protocol.Classifier`."""
