"""Folders, DICOM, values, splits. Whatever turns the images of a source into sets."""
