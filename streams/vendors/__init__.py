"""All that is known of one vendor's shapes, in and out, in one file each."""
