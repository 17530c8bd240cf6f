"""The three trainings: the cloud network, the teacher and the student."""
