"""Data sets in the layout of the Hugging Face Hub, downloaded or in a folder of the user's, through `datasets`."""
