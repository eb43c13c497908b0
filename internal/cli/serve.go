package cli

import (
	"fmt"
	"log/slog"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"holdfast/internal/config"
	"holdfast/internal/daemon"
)

func newServe(env *Env) *cobra.Command {
	var s settings
	var o config.Override
	cmd := &cobra.Command{
		Use:   "serve [--config FILE] [--data DIR] [--pg ADDR] [--http ADDR] [--mysql ADDR] [--log text|json] [--force]",
		Short: "take rows and deliver them, until told to stop",
		Long: `serve opens the data directory, making it where it is missing, and takes rows
over the PostgreSQL wire and HTTP. Without a configuration it delivers them to
SQLite in <data>/holdfast.db and creates tables on their first row.

TERM and INT stop it: the doors close, delivery goes on for at most ten seconds
("drain"), what is left stays; a second one ends it at once. HUP reads the
configuration again, USR2 seals the active segments. The log goes to standard
error; its line "ready" tells the addresses.`,
		Example: "  holdfast serve\n  holdfast serve --config /etc/holdfast/holdfast.yaml --log json\n  psql -h 127.0.0.1 -p 5433 -c \"INSERT INTO calls(caller) VALUES ('alice')\"",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			load := func() (*config.Config, error) { return s.load(env, o) }
			c, err := load()
			if err != nil {
				return err
			}
			o.Force = false // once, not at each HUP
			log, level := newLog(env, c)
			return daemon.Run(env.Context, daemon.Config{
				Config: c, Reload: load, Version: readBuild().Version, Log: log, Level: level,
			})
		},
	}
	s.flags(cmd)
	cmd.Flags().StringVar(&o.PG, "pg", "", "`address` of the PostgreSQL wire; port 0 lets the system choose")
	cmd.Flags().StringVar(&o.HTTP, "http", "", "`address` of HTTP; port 0 lets the system choose")
	cmd.Flags().StringVar(&o.MySQL, "mysql", "", "`address` of MySQL's protocol, which is off without it and listen: {mysql: ...}; port 0 lets the system choose")
	cmd.Flags().StringVar(&o.Log, "log", "", "`format` of the log, text or json, or its level, or both with a comma (HOLDFAST_LOG)")
	cmd.Flags().BoolVar(&o.Force, "force", false, "take sizes of hot, warm and the index into use that are more than a tenth smaller than before")
	return cmd
}

// newLog returns the server's log, and its level, which can change.
func newLog(env *Env, c *config.Config) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(c.Log.Level.Slog())
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: printable}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(env.Stderr, o)), level
	}
	return slog.New(slog.NewTextHandler(env.Stderr, o)), level
}

// printable replaces what JSON leaves as it is and a terminal does not only
// show, such as what turns the direction of writing; clients choose their names.
func printable(_ []string, a slog.Attr) slog.Attr {
	v := a.Value
	text := ""
	switch v.Kind() {
	case slog.KindString:
		text = v.String()
	case slog.KindAny:
		err, ok := v.Any().(error)
		if !ok {
			return a
		}
		text = err.Error()
	default:
		return a
	}
	odd := func(r rune) bool { return r >= 0x7f && !unicode.IsPrint(r) }
	if !strings.ContainsFunc(text, odd) {
		return a
	}
	var b strings.Builder
	for _, r := range text {
		if odd(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return slog.String(a.Key, b.String())
}
