"""Folders, DICOM, values, splits: everything that turns the images of a source into sets."""
