"""Batch scoring: any table in, one row of predictions per row out, in bounded memory."""
