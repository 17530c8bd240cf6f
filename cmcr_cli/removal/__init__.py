"""Where scene and model meet: options, plan and run of one cloud removal."""
