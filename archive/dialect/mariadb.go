package dialect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"database/sql"

	driver "github.com/go-sql-driver/mysql"

	"holdfast/archive"
	"holdfast/internal/fault"
)

// mariadb is MariaDB. Each of its statements that makes, renames or drops
// commits by itself; what several of them do is finished by the next run.
type mariadb struct{ schema string }

var _ engine = (*mariadb)(nil)

// moving is a variable of a session: triggers of ours, and those of users while
// rows are put back, look whether it is set.
const moving = "@holdfast_archive_move"

// ownMode is how our statements are read: nothing is escaped by a backslash,
// and a key of 0 stays 0.
const ownMode = "STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"

// ownCollation is what literals of ours are compared by.
const ownCollation = "utf8mb4_bin"

func openMariaDB(ctx context.Context, text string) (*Session, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User == nil || strings.Trim(u.Path, "/") == "" || strings.Contains(strings.Trim(u.Path, "/"), "/") {
		return nil, fault.New(fault.InvalidParameterValue, "the URL of the database is not one").
			WithHint("mysql://USER@HOST:PORT/DATABASE; a character like / @ : # ? %% in user or password is written as %%XX")
	}
	c := driver.NewConfig()
	c.Net, c.Addr, c.User, c.DBName = "tcp", u.Host, u.User.Username(), strings.Trim(u.Path, "/")
	c.Passwd, _ = u.User.Password()
	if u.Port() == "" {
		c.Addr = strings.TrimSuffix(u.Host, ":") + ":3306"
	}
	for name, values := range u.Query() {
		if name != "tls" {
			return nil, fault.New(fault.InvalidParameterValue, "the URL of the database has an unknown parameter %q", name).WithHint("there is only tls")
		}
		c.TLSConfig = values[0]
	}
	c.InterpolateParams, c.MultiStatements, c.MaxAllowedPacket, c.Logger = true, true, 0, &driver.NopLogger{}
	if err := c.Apply(driver.Charset("utf8mb4", ownCollation)); err != nil {
		return nil, err
	}
	connector, err := driver.NewConnector(c)
	if err != nil {
		return nil, fault.New(fault.InvalidParameterValue, "the URL of the database is not one").Because(err)
	}
	m := &mariadb{schema: c.DBName}
	return start(ctx, m, sql.OpenDB(connector), c.Addr, m.begin)
}

// patient is how many seconds a statement waits for a table that is in use; an
// exclusive one waits for brief, since others wait behind it.
const (
	patient = 15
	brief   = 1
)

// version is of a MariaDB.
var version = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+).*MariaDB`)

// begin pins what changes how values are written and statements are read.
func (m *mariadb) begin(ctx context.Context, s *Session) error {
	rows, err := Rows(ctx, s, "SELECT VERSION()")
	if err != nil {
		return err
	}
	v := version.FindStringSubmatch(rows[0][0])
	if v == nil {
		return fault.New(fault.FeatureNotSupported, "this server is no MariaDB (%s)", rows[0][0]).WithHint("archiving was never tried on MySQL, and so it refuses")
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(v[i+1]) // digits, as the pattern says
	}
	if slices.Compare(n[:], []int{10, 6, 1}) < 0 {
		return fault.New(fault.FeatureNotSupported, "this server is too old (%s)", rows[0][0]).WithHint("MariaDB 10.6.1 is the first whose RENAME TABLE survives a crash whole")
	}
	_, err = s.ExecContext(ctx, fmt.Sprintf("SET SESSION sql_mode = '%s', time_zone = '+00:00', lock_wait_timeout = %d, foreign_key_checks = 1, unique_checks = 1, autocommit = 1, %s = 1", ownMode, patient, moving))
	return err
}

// lock takes a lock that ends with the session.
func (m *mariadb) lock(ctx context.Context, s *Session) (bool, error) {
	sum := sha256.Sum256([]byte(m.schema))
	rows, err := Rows(ctx, s, "SELECT GET_LOCK(?, 0)", lockName+hex.EncodeToString(sum[:8]))
	return err == nil && rows[0][0] == "1", err
}

func (*mariadb) now() string { return "SELECT UNIX_TIMESTAMP()" }

func (*mariadb) commits() bool { return true }

func (*mariadb) busy(err error) bool {
	var e *driver.MySQLError
	return errors.As(err, &e) && (e.Number == 1205 || e.Number == 1213)
}

// impatient is how often exclusive tries without waiting at all.
const impatient = 40

// exclusive runs statements that lock by themselves, with little patience. At
// first it does not wait for a single table: a statement that holds some and
// waits for others can make a deadlock with a transaction that has them the
// other way round, and it is the transaction that the server ends then.
func (m *mariadb) exclusive(ctx context.Context, s *Session, _ []string, what func(q Querier) error) (held time.Duration, err error) {
	for n, seconds := 0, 0; n <= impatient; n++ {
		if n == impatient {
			seconds = brief
		}
		if _, err := s.Conn.ExecContext(ctx, fmt.Sprintf("SET SESSION lock_wait_timeout = %d", seconds)); err != nil {
			return 0, err
		}
		began := time.Now()
		err = what(s)
		held = time.Since(began)
		if err == nil || !m.busy(err) {
			break
		}
		if seconds == 0 {
			time.Sleep(time.Duration(n+1) * time.Millisecond) // whoever is there is soon gone
		}
	}
	if _, again := s.Conn.ExecContext(ctx, fmt.Sprintf("SET SESSION lock_wait_timeout = %d, sql_mode = '%s', collation_connection = '%s'", patient, ownMode, ownCollation)); err == nil {
		err = again
	}
	return held, err
}

// split returns the database and the table that a name means.
func (m *mariadb) split(name string) (schema, table string) {
	schema, table, found := strings.Cut(name, ".")
	if !found {
		return m.schema, name
	}
	return schema, table
}

// Quote writes the name of a table.
func (m *mariadb) Quote(name string) string {
	schema, table := m.split(name)
	return m.Column(schema) + "." + m.Column(table)
}

// Column writes the name of a column.
func (*mariadb) Column(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// Text writes a text, in a session that takes no backslash for an escape.
func (*mariadb) Text(text string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(text, "\x00", ""), "'", "''") + "'"
}

// Second returns the whole second of a date.
func (*mariadb) Second(column string) string {
	return "TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', " + column + ")"
}

// Readable returns nothing: rights are by database, or given by an administrator.
func (*mariadb) Readable(string) string { return "" }

// Made returns how a numbered key is declared, and an engine with transactions.
func (*mariadb) Made() (numbered, options string) {
	return "integer NOT NULL AUTO_INCREMENT PRIMARY KEY", " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
}

// Reserve locks the rows, and the place behind the last of them.
func (m *mariadb) Reserve(table string) string {
	return "SELECT COUNT(*) FROM " + m.Quote(table) + " FOR UPDATE"
}

// Digest adds up what MD5 makes of each row, its values written so that no two
// rows are written alike.
func (m *mariadb) Digest(ctx context.Context, q Querier, table string) (string, error) {
	schema, name := m.split(table)
	rows, err := Rows(ctx, q, "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION", schema, name)
	if err != nil {
		return "", err
	}
	var values []string
	for _, r := range rows {
		values = append(values, "QUOTE(CAST("+m.Column(r[0])+" AS BINARY))")
	}
	return "SELECT COUNT(*), COALESCE(SUM(CAST(CONV(LEFT(MD5(CONCAT_WS(',', " + strings.Join(values, ", ") + ")), 16), 16, 10) AS UNSIGNED)), 0) FROM " + m.Quote(table), nil
}

// Named returns what looks like an archived table.
func (m *mariadb) Named(ctx context.Context, q Querier, f *archive.Family) (all []string, err error) {
	rows, err := Rows(ctx, q, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1", m.schema)
	for _, r := range rows {
		if slices.ContainsFunc(f.Tables, func(t archive.Table) bool { return isArchived(t.Name, r[0]) }) {
			all = append(all, r[0])
		}
	}
	return all, err
}

// stamped is what stands behind the name of a table once it is archived.
var stamped = regexp.MustCompile(`^_[0-9]{9,11}$`)

func isArchived(table, name string) bool {
	rest, ours := strings.CutPrefix(name, table)
	return ours && stamped.MatchString(rest)
}

// again is the end of a name that an earlier closing gave.
var again = regexp.MustCompile(`_[0-9]{9,11}$`)

// renamed returns a name that is free, where names are one's own in a schema:
// that of before, with this closing's time in place of the last one's.
func renamed(name string, stamp int64) string {
	return suffixed(again.ReplaceAllString(name, ""), "_"+strconv.FormatInt(stamp, 10))
}
