"""Who is known by their looks: many people, each in several views, searched exactly and kept in one file."""
