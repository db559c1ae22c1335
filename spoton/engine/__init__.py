"""What both brokers share beneath Faust's agents: records handed over, read and acknowledged in batches."""
