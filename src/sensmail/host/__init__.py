"""What any service of ours asks of its host: durable files, protected memory, the word to systemd. Knows no product."""
