"""The seams to pixels: where frames come from, what finds people in them, what describes a person."""
