"""Containers of pictures, sound and film, as far as several plugins share it. No modality's preprocessing."""
