"""The dashboard's blocks: figures of ``tds_new.queries`` put into words, the same for the page and for its polls."""
