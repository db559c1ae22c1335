"""Work on recordings: tracking, scoring, checking, measuring."""
