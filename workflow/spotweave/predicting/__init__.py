"""What a trained method says of a slide that is nobody's sample: a person's own picture, without expression."""
