package mysql

import (
	"errors"

	"github.com/go-sql-driver/mysql"
)

// refusals are the errors that are about what a row is, though their SQLSTATE
// does not say so on every server. Those of the classes 22 (data exception), 23
// (integrity constraint) and 45 (a trigger's SIGNAL) always are. Every other
// error is about where the row is to go (the server is away, full, locked,
// lacks a table or a right), and the same rows come again: among them
// 1021, 1040, 1045, 1053, 1054, 1114, 1142, 1146, 1205, 1213, 2006 and 2013.
//
// docs/delivery.md has this table for operators.
var refusals = map[uint16]string{
	1048: "NULL in a column that is NOT NULL",
	1062: "a key that is there already",
	1118: "a row larger than a page of the engine takes",
	1153: "a row larger than max_allowed_packet",
	1264: "a number out of the column's range",
	1265: "a value that the column would cut",
	1292: "a date or number that is none",
	1300: "text that is not UTF-8",
	1364: "a column without default that the row leaves out",
	1366: "a number or character that the column cannot hold",
	1367: "a value that is none of its type",
	1406: "a value longer than the column",
	1411: "a value that a function of the table cannot read",
	1416: "a value that is no geometry",
	1452: "a foreign key without its parent",
	1526: "a value that no partition takes",
	1643: "a trigger's SIGNAL",
	1644: "a trigger's SIGNAL",
	1690: "a number out of range",
	1906: "a value for a generated column (MariaDB)",
	3105: "a value for a generated column (MySQL)",
	3140: "text that is no JSON",
	3819: "a CHECK (MySQL)",
	4025: "a CHECK (MariaDB)",
}

// aboutRow reports whether err refuses a row for what it is.
func aboutRow(err error) bool {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return false
	}
	if _, known := refusals[e.Number]; known {
		return true
	}
	switch string(e.SQLState[:2]) {
	case "22", "23", "45":
		return true
	}
	return false
}

// number returns the server's number of err, 0 where it is not the server's.
func number(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// aboutSchema reports whether err says that tables are not as they were when
// they were looked at.
func aboutSchema(err error) bool {
	switch number(err) {
	case 1054, 1136, 1146, 1906, 3105: // no such column, column count, no such table, generated columns
		return true
	}
	return false
}
