package mysql

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	driver "github.com/go-sql-driver/mysql"
)

var errOdd = errors.New("a character like / @ : # ? % in user or password is to be written as %XX")

// parse turns the options into what the driver wants. No error of it holds the
// URL as it was given, since a password may be in there.
func parse(opts Options) (*driver.Config, error) {
	u, err := url.Parse(opts.URL)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		if strings.Contains(opts.URL, "@") { // net/url quotes the port, which may be half of a password
			err = errOdd
		}
		return nil, fmt.Errorf("read URL of database: %w; want mysql://user@host:port/database", err)
	}
	c := driver.NewConfig()
	database := strings.TrimPrefix(u.Path, "/")
	switch {
	case u.User == nil && strings.Contains(opts.URL, "@"):
		return nil, fmt.Errorf("read URL of database: %w", errOdd) // a slash in the password, whose rest would be the path
	case u.Scheme != "mysql" && u.Scheme != "mariadb":
		return nil, fmt.Errorf("read URL of database: scheme %q: want mysql://user@host:port/database", u.Scheme)
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("read URL of database: it names no host; want mysql://user@host:port/database")
	case database == "" || strings.Contains(database, "/"):
		return nil, fmt.Errorf("read URL of database: %q is no name of a database; want mysql://user@host:port/database", database)
	case u.User.Username() == "":
		return nil, errors.New("read URL of database: it names no user; want mysql://user@host:port/database")
	}
	c.Net, c.Addr, c.DBName, c.User = "tcp", u.Host, database, u.User.Username()
	if u.Port() == "" {
		c.Addr = strings.TrimSuffix(u.Host, ":") + ":3306"
	}
	c.Passwd, _ = u.User.Password()
	if opts.Password != "" {
		c.Passwd = opts.Password
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("read URL of database: what stands behind the ? is not name=value")
	}
	for name, values := range query {
		if name != "tls" {
			return nil, fmt.Errorf("read URL of database: unknown parameter %q; there is only tls", name)
		}
		switch values[0] {
		case "true", "false", "skip-verify", "preferred":
			c.TLSConfig = values[0]
		default:
			return nil, fmt.Errorf("read URL of database: tls=%q: want true, false, skip-verify or preferred", values[0])
		}
	}
	c.Timeout, c.ReadTimeout, c.WriteTimeout = opts.Timeout, opts.Timeout, opts.Timeout
	c.InterpolateParams = true // one round trip for a statement that is not prepared
	c.MaxAllowedPacket = 0     // as the server says
	c.Logger = &driver.NopLogger{}
	if err := c.Apply(driver.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, fmt.Errorf("read URL of database: %w", err)
	}
	return c, nil
}
