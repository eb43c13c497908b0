package dialect

// Bytes asks for the files of the table, of its indexes and of long values.
func (s *postgres) Bytes(table string) string {
	return "SELECT pg_total_relation_size(" + s.Text(s.Quote(table)) + "::regclass)"
}

// Bytes asks what the server last counted, which it does now and then.
func (m *mariadb) Bytes(table string) string {
	schema, name := m.split(table)
	return "SELECT DATA_LENGTH + INDEX_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = " + m.Text(schema) + " AND TABLE_NAME = " + m.Text(name)
}

// Bytes adds up the pages of the table and of its indexes.
func (l *lite) Bytes(table string) string {
	return "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE aggregate = TRUE AND name IN (SELECT name FROM sqlite_schema WHERE tbl_name = " + l.Text(table) + " COLLATE NOCASE)"
}
