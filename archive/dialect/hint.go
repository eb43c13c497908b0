package dialect

import (
	"errors"

	driver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

// What a database refuses for reasons that an administrator can put right.
const (
	hintRights   = "docs/archive.md, A role with the least rights, has the statements that give a role what it needs; nothing is lost: run it again then"
	hintReadOnly = "this database can only be read, as a standby can: name the server that is written to"
	hintFull     = "nothing is lost: make room, and run it again; what was begun is finished or undone first"
)

// Hint says what to do about an error of a database; "" where that is not known.
func Hint(err error) string {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
		return map[string]string{"42501": hintRights, "25006": hintReadOnly, "53100": hintFull}[e.Code]
	}
	if e := (*driver.MySQLError)(nil); errors.As(err, &e) {
		return map[uint16]string{
			1044: hintRights, 1142: hintRights, 1143: hintRights, 1227: hintRights, 1370: hintRights,
			1290: hintReadOnly, 1792: hintReadOnly, 1836: hintReadOnly,
			1021: hintFull, 1114: hintFull,
		}[e.Number]
	}
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		return map[int]string{8: "this file, or its directory, can only be read by whoever runs this", 13: hintFull}[e.Code()&0xff]
	}
	return ""
}
