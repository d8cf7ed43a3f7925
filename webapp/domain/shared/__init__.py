"""Rules that every area uses: errors, money, timestamps, URLs, validators, CSV and text."""
