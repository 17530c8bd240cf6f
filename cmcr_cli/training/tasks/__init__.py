"""The three trainings: cloud network, teacher and student."""
