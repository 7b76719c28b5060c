"""Pages about what was used, which show no plan and no charge: one module a page."""
