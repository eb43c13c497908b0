package daemon

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/flat"
	"holdfast/sink/http"
	"holdfast/sink/mcache"
	"holdfast/sink/mysql"
	"holdfast/sink/postgres"
	"holdfast/sink/sqlite"
)

// openSinks opens every sink of c. A sink that is away is no error: delivery
// tries again for ever.
func openSinks(c *config.Config, log *slog.Logger) (all []holdfast.Sink, err error) {
	for _, name := range c.SinkNames() {
		k := c.Sinks[name]
		to, err := openSink(c, k, log.With("sink", name))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open sink %q: %w", name, err), closeSinks(all))
		}
		flood := float64(k.RejectFlood) / 100
		if k.RejectFlood == 0 {
			flood = -1 // off
		}
		all = append(all, holdfast.Sink{
			Name: name, Sink: to, Streams: k.Streams, Replay: k.OnRewind == config.ReplayOnRewind, Now: k.Start == config.StartNow,
			WholeTransactions: k.RejectUnit == config.UnitTransaction, RejectBudget: k.RejectBudget, RejectFlood: flood, Shape: shape(k),
		})
	}
	return all, nil
}

// shape is what a sink gets of the rows.
func shape(k *config.Sink) holdfast.Shape {
	s := holdfast.Shape{Rename: map[string]string{}, Columns: map[string]string{}}
	for _, g := range k.Tables {
		s.Tables = append(s.Tables, string(g))
	}
	for from, to := range k.Rename.Tables {
		s.Rename[from] = string(to)
	}
	for from, to := range k.Rename.Columns {
		s.Columns[from] = string(to)
	}
	for _, column := range slices.Sorted(maps.Keys(k.Add)) {
		one := holdfast.Added{Column: column}
		switch text := string(k.Add[column]); text {
		case "$seq":
			one.Fill = holdfast.AddSeq
		case "$received_at":
			one.Fill = holdfast.AddReceivedAt
		case "$stream":
			one.Fill = holdfast.AddStream
		case "$host":
			one.Text, _ = os.Hostname() // empty where the machine has no name
		default:
			if strings.HasPrefix(text, "$$") {
				text = text[1:]
			}
			one.Text = text
		}
		s.Add = append(s.Add, one)
	}
	return s
}

func closeSinks(all []holdfast.Sink) error {
	var errs []error
	for _, k := range all {
		errs = append(errs, k.Sink.Close())
	}
	return errors.Join(errs...)
}

// openSink opens one sink of its kind.
func openSink(c *config.Config, k *config.Sink, log *slog.Logger) (sink.Sink, error) {
	fixed, timeout := k.Create == config.CreateNever, time.Duration(k.Timeout)
	if k.Type == config.SQLite {
		return sqlite.Open(k.File, sqlite.Options{Fixed: fixed})
	}
	target, err := k.Target()
	if err != nil {
		return nil, err
	}
	switch k.Type {
	case config.Postgres:
		return postgres.Open(postgres.Options{URL: target, Schema: string(k.Schema), Fixed: fixed, Timeout: timeout})
	case config.MySQL:
		return mysql.Open(mysql.Options{URL: target, Database: string(k.Schema), Fixed: fixed, Timeout: timeout, Log: log})
	case config.Flat:
		return openFlat(c, k, target, log)
	case config.Mcache:
		place := sha256.Sum256([]byte(filepath.Clean(k.Directory())))
		return mcache.Open(target, mcache.Options{Dir: filepath.Join(c.Data, "sinks", fmt.Sprintf("mcache-%x", place[:8])), Mode: k.Mode.Perm(), Log: log})
	case config.HTTP:
		return openHTTP(c, k, target, log)
	}
	return nil, fault.New(fault.FeatureNotSupported, "sinks of type %q are not known", string(k.Type))
}

// flatTimes are the words of flat files for those of the configuration.
var flatTimes = map[config.Times]flat.Times{config.TimesZoned: flat.Zoned, config.TimesClock: flat.Clock, config.TimesEpoch: flat.Epoch}

func openFlat(c *config.Config, k *config.Sink, target string, log *slog.Logger) (sink.Sink, error) {
	o := flat.Options{
		Times: flatTimes[k.Times], Zone: c.Tables.Zone.Location(),
		Number: k.Writer, File: string(k.Pattern), Local: k.Zone == config.ZoneLocal, Kamailio: k.Marks == config.MarksKamailio,
		RotateSize: int64(k.RotateSize), RotateEvery: time.Duration(k.RotateEvery), Mode: k.Mode.Perm(), Log: log, Columns: map[string][]string{},
	}
	for table, names := range k.Columns {
		for _, n := range names {
			o.Columns[table] = append(o.Columns[table], string(n))
		}
	}
	return flat.Open(target, o)
}

// openHTTP opens a sink whose cursor is kept here, as the receiver has no place
// for it. It is found by the address alone, so that the sink can be renamed.
func openHTTP(c *config.Config, k *config.Sink, target string, log *slog.Logger) (sink.Sink, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, errors.New("the url cannot be read") // it may hold a secret
	}
	place := sha256.Sum256([]byte(u.Scheme + "://" + u.Host + u.Path))
	o := http.Options{
		Dir: filepath.Join(c.Data, "sinks", fmt.Sprintf("http-%x", place[:8])), Headers: map[string]string{},
		TokenFile: k.TokenFile, CAFile: k.CAFile, Timeout: time.Duration(k.Timeout), Gzip: k.Compress == config.CompressGzip, Log: log,
	}
	if k.HeadersFile != "" {
		text, err := config.Secret(k.HeadersFile)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
			if strings.TrimSpace(line) == "" {
				continue
			}
			if !ok {
				return nil, fault.New(fault.InvalidParameterValue, "%q has a line without a colon", k.HeadersFile).WithHint("write headers as \"Name: value\", one per line")
			}
			o.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return http.Open(target, o)
}

// checks returns what refuses tables that one of the sinks could never take, and
// what folds their names as those sinks do; nil where none folds.
func checks(c *config.Config) (check func(*row.Schema) error, fold func(string) string) {
	kinds := map[config.SinkType]bool{}
	for _, k := range c.Sinks {
		kinds[k.Type] = true
	}
	if kinds[config.SQLite] || kinds[config.MySQL] {
		fold = sqlite.FoldName // on some systems MariaDB takes names so, too
	}
	return func(s *row.Schema) error {
		if kinds[config.SQLite] {
			if err := sqlite.CheckSchema(s); err != nil {
				return err
			}
		}
		if kinds[config.Postgres] {
			if err := postgres.CheckSchema(s); err != nil {
				return err
			}
		}
		if kinds[config.MySQL] {
			return mysql.CheckSchema(s)
		}
		return nil
	}, fold
}
