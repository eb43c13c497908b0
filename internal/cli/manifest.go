package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast"
	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
)

func newManifest(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "manifest",
		Short: "find the segments that rows are, or were, in",
		Long: `manifest looks at what stands beside each sealed segment: which rows are in it.
Those of segments that are gone are found where manifest_dir is configured.`,
		Example: "  holdfast manifest search --link 4711",
	}
	group(cmd)
	cmd.AddCommand(newManifestSearch(env))
	for _, verb := range cmd.Commands() {
		verb.DisableFlagsInUseLine = true
	}
	return cmd
}

func newManifestSearch(env *Env) *cobra.Command {
	var s settings
	var q httpapi.ManifestQuery
	var at, links, seqs string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "search [--time T | --time FROM..TO] [--link L | --link FROM-TO] [--seq N | --seq FROM-TO] [--stream S] [--limit N] [--json] [--config FILE] [--data DIR]",
		Short: "tell which segment held a row, and where it went",
		Long: `search lists the segments that can hold what is asked for: rows received at a
time, with a link, with a seq; all of it where several are given. Of segments that
are gone it tells when they went, by which rule and where to, where manifest_dir
is configured. A day without a time means all of that day; times are in UTC.`,
		Example: "  holdfast manifest search --time 2026-01-31 --stream session\n  holdfast manifest search --time \"2026-01-31 12:00:00\" --link 4711 --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) (err error) {
			if err := notBelow("limit", limit); err != nil {
				return err
			}
			if q.Times, err = period(at); err != nil {
				return err
			}
			if q.Links, err = ends("link", links); err != nil {
				return err
			}
			if q.Seqs, err = ends("seq", seqs); err != nil {
				return err
			}
			return s.with(env, func(db Database) error {
				able, ok := db.(httpapi.ManifestFinder)
				if !ok {
					return fault.New(fault.FeatureNotSupported, "this database has no manifests")
				}
				return searchManifests(env, able, q, limit, asJSON)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&at, "time", "", "rows received at this `time`, or within FROM..TO, in UTC")
	f.StringVar(&links, "link", "", "rows with this `link`, or with FROM-TO")
	f.StringVar(&seqs, "seq", "", "rows with this `seq`, or with FROM-TO")
	f.StringVar(&q.Stream, "stream", "", "only this `stream`")
	f.IntVar(&limit, "limit", 0, "stop after this `number` of segments")
	f.BoolVar(&asJSON, "json", false, "one JSON object per segment")
	s.flags(cmd)
	return cmd
}

// period reads a time, a day, or FROM..TO of them, either of which may be left
// out; nil for nothing.
func period(text string) (*[2]int64, error) {
	if text == "" {
		return nil, nil
	}
	from, to, is := strings.Cut(text, "..")
	if !is {
		to = from
	}
	span := [2]int64{math.MinInt64, math.MaxInt64}
	if from != "" {
		first, _, err := moments("time", from)
		if err != nil {
			return nil, err
		}
		span[0] = first
	}
	if to != "" {
		_, last, err := moments("time", to)
		if err != nil {
			return nil, err
		}
		span[1] = last
	}
	if span[0] > span[1] {
		return nil, usage("give the earlier one first", "--time %q is no period", text)
	}
	return &span, nil
}

// moments returns the first and the last moment of what a time, written to the
// day or the second, means, in Unix microseconds.
func moments(flag, text string) (first, last int64, err error) {
	t, err := moment(flag, text)
	if err != nil {
		return 0, 0, err
	}
	first, last = t.UnixMicro(), t.UnixMicro()
	switch {
	case len(text) == len(time.DateOnly):
		last = t.AddDate(0, 0, 1).UnixMicro() - 1
	case !strings.Contains(text, "."):
		last = t.Add(time.Second).UnixMicro() - 1
	}
	return first, last, nil
}

// errEnough ends a search whose limit is reached.
var errEnough = errors.New("enough")

func searchManifests(env *Env, able httpapi.ManifestFinder, q httpapi.ManifestQuery, limit int, asJSON bool) error {
	out := bufio.NewWriterSize(env.Stdout, 64<<10)
	given := 0
	damaged, err := able.FindManifests(env.Context, q, func(text json.RawMessage) error {
		if limit > 0 && given == limit {
			return errEnough
		}
		given++
		if asJSON {
			_, err := out.Write(append(text, '\n'))
			return err
		}
		return printFound(out, text)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if e := out.Flush(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if given == 0 && !asJSON {
		fmt.Fprintln(env.Stdout, "no segment is known that can hold that; those that are gone are known where manifest_dir was configured when they went")
	}
	if damaged > 0 {
		return &exitError{code: exitDamage, err: fmt.Errorf("%s kept in manifest_dir cannot be read", plural(damaged, "manifest"))}
	}
	return nil
}

// printFound writes one segment as one line of words, and one of what became of
// it.
func printFound(w io.Writer, text json.RawMessage) error {
	var f holdfast.FoundManifest
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("read a manifest: %w", err)
	}
	stamp := func(t time.Time) string { return t.UTC().Format(time.DateTime) }
	links := ""
	if f.Session1 != nil && f.Session2 != nil {
		links = fmt.Sprintf(", %s %d to %d", word(f.Link), *f.Session1, *f.Session2)
	}
	fmt.Fprintf(w, "%s %s: seq %d to %d%s, received %s to %s, %s: %s", f.Stream, f.Filename, f.ID1, f.ID2, links,
		stamp(f.Received[0]), stamp(f.Received[1]), bytesOf(f.Size), f.Where)
	switch {
	case f.Gone != nil:
		fmt.Fprintf(w, " since %s, %s by %s", stamp(f.Gone.At), oneLine(f.Gone.To), oneLine(first(f.Gone.Rule, "a rule that a crash forgot")))
		if f.Gone.Roll != 0 {
			fmt.Fprintf(w, " (roll %s, %s)", strconv.FormatUint(f.Gone.Roll, 10), oneLine(first(f.Gone.By, "unknown")))
		}
	case !f.Until.IsZero():
		fmt.Fprintf(w, " until %s: holdfast roll undo", stamp(f.Until))
	}
	if f.Hidden != nil {
		fmt.Fprintf(w, "; rows with %s below %d are cut off", word(f.Link), *f.Hidden)
	}
	_, err := fmt.Fprintln(w)
	return err
}
