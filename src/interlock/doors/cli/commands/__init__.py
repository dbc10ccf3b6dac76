"""The commands, by what their caller wants: serve, start, read, steer. Each is a few lines over the parts above."""
