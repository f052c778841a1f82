"""What the report says in sentences: verdict, summary, notices."""
