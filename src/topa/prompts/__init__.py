"""What the aligned LLM is asked."""
