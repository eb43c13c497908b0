package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/config"
	"holdfast/internal/daemon"
	"holdfast/internal/doctor"
	"holdfast/internal/httpapi"
)

func newDoctor(env *Env) *cobra.Command {
	var s settings
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "doctor [--config FILE | --data DIR] [--no-write] [--json] [DIR]... | plan",
		Short: "look for what is wrong with the machine under an installation, and say what to do",
		Long: `doctor looks at the directories of the configuration, and at those that are named
(a spool directory, say; alone, without --config and --data, only at those): file
system and mount, room in bytes and in inodes, the device, modes and secrets, what
else comes by and removes files, limits, memory, clock, service and certificate;
and at the running server, or at what keeps one from starting. The worst comes
first, each with the value that was seen, what follows, and what to do.

It changes nothing. In each file system it writes a small file, times 64 flushes,
and removes it; --no-write leaves that out. Run it as root, or as the server's user.

It exits with 1 where something needs doing, with 0 where there are only notes.`,
		Example: "  holdfast doctor --config /etc/holdfast/holdfast.yaml\n  holdfast doctor /var/spool/holdfast/rows\n  holdfast doctor --json --no-write",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, dirs []string) error {
			in := doctor.Installation{Dirs: dirs, Write: !quiet}
			if len(dirs) == 0 || s.named(env) {
				c, err := s.load(env, config.Override{})
				if err != nil {
					return err
				}
				in.Config, in.Status = c, serverStatus(env, c)
				in.LeastFiles, in.AllFiles = daemon.Descriptors(c)
			}
			return examine(env, in, asJSON)
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&quiet, "no-write", false, "time no flushes, so that nothing is written")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	cmd.AddCommand(newDoctorPlan(env))
	return cmd
}

// statusTime is how long a server may take to say how it is; one that takes
// longer is stuck, which the doctor then says.
const statusTime = 20 * time.Second

// serverStatus returns the status of the server that has the data directory
// open; nil where none answers.
func serverStatus(env *Env, c *config.Config) *httpapi.Status {
	ctx, cancel := context.WithTimeout(env.Context, statusTime)
	defer cancel()
	if answers(ctx, c.AdminSocket()) != nil {
		return nil
	}
	server := httpapi.NewUnix(c.AdminSocket())
	defer server.Close()
	st, err := server.Status(ctx)
	if err != nil {
		return nil
	}
	return &st
}

func examine(env *Env, in doctor.Installation, asJSON bool) error {
	r := doctor.Examine(env.Context, in, nil)
	if err := env.Context.Err(); err != nil {
		return errors.New("the look was interrupted; the file that was written is removed")
	}
	var err error
	if asJSON {
		err = json.NewEncoder(env.Stdout).Encode(r)
	} else {
		err = printReport(env.Stdout, r)
	}
	if err == nil && r.Wrong() {
		err = fmt.Errorf("%s", needs(r.Count(doctor.Critical)+r.Count(doctor.Warning)))
	}
	return err
}

func needs(n int) string {
	if n == 1 {
		return "1 thing needs doing"
	}
	return fmt.Sprintf("%d things need doing", n)
}

// printReport writes r for people, the worst first.
func printReport(w io.Writer, r doctor.Report) error {
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%s  %s: %s (%s)\n", strings.ToUpper(f.Severity.String()), f.Subject, oneLine(f.Saw), f.Check)
		fmt.Fprintf(w, "  %s\n", oneLine(f.Means))
		if f.Do != "" {
			fmt.Fprintf(w, "  do: %s\n", oneLine(f.Do))
		}
		for _, c := range f.Commands {
			fmt.Fprintf(w, "      %s\n", oneLine(c))
		}
		fmt.Fprintln(w)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DIRECTORY\tUSE\tFILE SYSTEM\tFREE\tINODES FREE\tFLUSH p50\tp99\tLASTS")
	for _, p := range r.Places {
		inodes, p50, p99, lasts := "-", "-", "-", "-"
		if p.Files > 0 {
			inodes = thousands(p.FreeFiles)
		}
		if p.FlushP50 > 0 {
			p50, p99 = micro(p.FlushP50), micro(p.FlushP99)
		}
		if p.Rate > 0 {
			lasts = ago(time.Duration(p.Lasts * float64(time.Second)))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Dir, p.Use, first(p.FileSystem, "-"), bytesOf(p.Free), inodes, p50, p99, lasts)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d critical, %s, %s; %s made: %s\n", r.Count(doctor.Critical), plural(r.Count(doctor.Warning), "warning"),
		plural(r.Count(doctor.Note), "note"), plural(len(r.Checks), "check"), strings.Join(r.Checks, ", "))
	return err
}

func micro(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Microsecond).String()
}
