package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/config"
	"holdfast/internal/doctor"
)

func newDoctorPlan(env *Env) *cobra.Command {
	var n doctor.Need
	var size string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "plan --rows-per-second N --row-size BYTES --outage DURATION [--for spool|stream] [--fs ext4|xfs|ffs] [--device DEV] [--mount DIR]" +
			" [--files-per-row N] [--rows-per-commit N] [--json]",
		Short: "plan a partition for a spool directory or a stream, with the arithmetic",
		Long: `plan says how large a partition must be to take every row while the database is
away, and how to make, mount and use it. For a spool, one file per row, it counts
inodes, blocks and directories; for a stream, segments. A fifth is added to the
rows. It touches no device: the commands are for you to read, and then to run.

--row-size is that of the values, in bytes or with a unit. --files-per-row 0.01
means a hundred rows in each file of a spool; --rows-per-commit says how many rows
of a stream come in one transaction, or from writers that wait at the same time.`,
		Example: "  holdfast doctor plan --rows-per-second 100 --row-size 200 --outage 6h\n" +
			"  holdfast doctor plan --for stream --rows-per-second 2000 --row-size 200 --outage 24h --rows-per-commit 50 --fs xfs --device /dev/sdb1",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, needed := range []string{"rows-per-second", "row-size", "outage"} {
				if !cmd.Flags().Changed(needed) {
					return usage("see holdfast doctor plan --help", "--%s is missing", needed)
				}
			}
			bytes, err := rowSize(size)
			if err != nil {
				return usage("in bytes, like 200, or with a unit, like \"4 KB\"", "--row-size: %w", err)
			}
			n.RowSize = bytes
			return runPlan(env, n, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&n.For, "for", doctor.ForSpool, "`what` is kept there: spool or stream")
	f.Float64Var(&n.RowsPerSecond, "rows-per-second", 0, "rows that come in a second, on average over the outage")
	f.StringVar(&size, "row-size", "", "`bytes` of a row's values")
	f.DurationVar(&n.Outage, "outage", 0, "the longest `time` without the database that is to be survived")
	f.StringVar(&n.FS, "fs", "ext4", "`file system`: ext4, xfs or ffs")
	f.StringVar(&n.Device, "device", "", "`device` that is named in the commands (/dev/sdX; of ffs /dev/rwd0n)")
	f.StringVar(&n.Mount, "mount", "", "`directory` to mount it at (/var/spool/holdfast, or /srv/holdfast of a stream)")
	f.Float64Var(&n.FilesPerRow, "files-per-row", 1, "files that each row makes in a spool")
	f.Float64Var(&n.RowsPerCommit, "rows-per-commit", 1, "rows that one flush of a stream covers")
	f.BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

// rowSize reads a number of bytes, with or without a unit.
func rowSize(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	n, err := config.ParseSize(text)
	return int64(n), err
}

func runPlan(env *Env, n doctor.Need, asJSON bool) error {
	device, mount := "/dev/sdX", "/var/spool/holdfast"
	if n.FS == "ffs" {
		device = "/dev/rwd0n"
	}
	if n.For == doctor.ForStream {
		mount = "/srv/holdfast"
	}
	n.Device, n.Mount = first(n.Device, device), first(n.Mount, mount)
	p, err := doctor.MakePlan(n)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(env.Stdout).Encode(p)
	}
	return printPlan(env.Stdout, p)
}

// printPlan writes p for people: the size, how it comes about, what to type.
func printPlan(w io.Writer, p *doctor.Plan) error {
	n := p.Need
	fmt.Fprintf(w, "A partition of %s (%d bytes) for a %s: %s rows, %s without the database.\n\n",
		bytesOf(p.Size), p.Size, n.For, thousands(p.Rows), time.Duration(p.Outage*float64(time.Second)))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range p.Steps {
		value := thousands(s.Value) + " " + s.Unit
		if s.Unit == "bytes" && s.Value >= 10<<10 {
			value = bytesOf(s.Value)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", s.What, value, s.How)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nMake it. The first line erases %s:\n\n  %s\n", n.Device, p.Mkfs)
	for _, line := range p.Then {
		fmt.Fprintf(w, "  %s\n", line)
	}
	if p.Config != "" {
		fmt.Fprintf(w, "\nIn Holdfast's configuration:\n\n  %s\n", strings.ReplaceAll(strings.TrimSpace(p.Config), "\n", "\n  "))
	}
	fmt.Fprintln(w, "\nKnow this:")
	for _, text := range p.Notes {
		if _, err := fmt.Fprintf(w, "- %s\n", text); err != nil {
			return err
		}
	}
	return nil
}

// thousands writes n with a comma between thousands.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
