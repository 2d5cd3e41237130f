"""What is done with dead letters, without the admin."""
