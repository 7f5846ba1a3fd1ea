"""What every room needs: types, errors, files, words to the user, the settings' reader."""
