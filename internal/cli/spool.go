package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/internal/holders"
	"holdfast/internal/httpapi"
	"holdfast/internal/spool"
)

func newSpool(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "spool",
		Short: "look at spool directories, and let a spare partition take new files",
		Long: `spool looks after sources of type spool. One with a spare partition can be made
anew while the system is live: switch lets the spare take new files, status says
when the other one is drained and safe to reformat. docs/spool.md has the runbook.`,
		Example: "  holdfast spool switch calls\n  sudo holdfast spool status calls",
	}
	group(cmd)
	cmd.AddCommand(newSpoolStatus(env), newSpoolSwitch(env))
	return cmd
}

// switcher is a Database that has spools.
type switcher interface {
	SwitchSpool(ctx context.Context, source string) (httpapi.Switched, error)
}

func newSpoolSwitch(env *Env) *cobra.Command {
	var s settings
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "switch NAME [--config FILE] [--data DIR] [--json]",
		Short: "let the other directory of a spool take new files, while this one is drained",
		Long: `switch lets the other one of url and spare take new files: it makes there the
directories that writers find in the first, with owner, group and mode, and then
replaces the link that writers write through (intake). Files of both are taken in.
Where the spare cannot be used nothing is changed, and it says why.`,
		Example: "  holdfast spool switch calls --data /var/lib/holdfast",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("see "+cmd.CommandPath()+" --help", "%q takes the name of a source", cmd.CommandPath())
			}
			return s.with(env, func(db Database) error {
				able, ok := db.(switcher)
				if !ok {
					return fault.New(fault.CannotConnectNow, "no server has this data directory open").WithHint("start it with holdfast serve")
				}
				done, err := able.SwitchSpool(env.Context, args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(env.Stdout).Encode(done)
				}
				_, err = fmt.Fprintf(env.Stdout, "new files go to %s\n%s is drained now: holdfast spool status %s says when it is safe to reformat\n", oneLine(done.To), oneLine(done.From), oneLine(done.Source))
				return err
			})
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

func newSpoolStatus(env *Env) *cobra.Command {
	var s settings
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [NAME] [--config FILE] [--data DIR] [--json]",
		Short: "tell what is left in each directory of a spool, and which one is safe to reformat",
		Long: `status looks into the directories of spools itself: files that wait, that a writer
may still complete, or that were set aside, and who holds something there open.
It says "drained, safe to reformat" of a directory that takes no new files where
there is nothing of that. Run it as root: others cannot see who has files open.
Without a running server it needs --config.`,
		Example: "  sudo holdfast spool status calls --data /var/lib/holdfast",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("see "+cmd.CommandPath()+" --help", "%q takes the name of one source", cmd.CommandPath())
			}
			all, err := s.partitions(env, first(args...))
			if err != nil {
				return err
			}
			for i := range all {
				all[i].examine()
			}
			if asJSON {
				return json.NewEncoder(env.Stdout).Encode(map[string]any{"partitions": all})
			}
			return printPartitions(env, all)
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

// partition is a directory of a spool, with what was found in it.
type partition struct {
	Source string `json:"source"`
	httpapi.Partition
	spool.Leftover
	Holders []holders.Holder `json:"holders,omitempty"`
	Drained bool             `json:"drained"`       // and safe to reformat
	Why     []string         `json:"why,omitempty"` // why not
}

// partitions returns the directories of spools, of one source where name is not
// "": as the server tells where one runs, else as the configuration and the links
// say.
func (s *settings) partitions(env *Env, name string) (all []partition, err error) {
	c, err := s.load(env, config.Override{})
	if err != nil {
		return nil, err
	}
	known := false
	add := func(source string, p httpapi.Partition) {
		all = append(all, partition{Source: source, Partition: p})
		known = known || source == name
	}
	if socket := c.AdminSocket(); answers(env.Context, socket) == nil {
		db := httpapi.NewUnix(socket)
		defer db.Close()
		st, err := db.Status(env.Context)
		if err != nil {
			return nil, err
		}
		for _, one := range st.Sources {
			for _, p := range one.Partitions {
				add(one.Name, p)
			}
		}
	} else {
		for _, source := range c.SourceNames() {
			one := c.Sources[source]
			now := intake(one)
			for i, p := range one.Partitions() {
				if one.Type == config.Spool {
					add(source, httpapi.Partition{Dir: p.Dir, Mounted: p.Mounted, Maildir: one.Layout == config.LayoutMaildir, Intake: now < 0 || i == now, State: "no server"})
				}
			}
		}
	}
	if name != "" && !known {
		return nil, fault.New(fault.UndefinedObject, "no source %q is a spool", name).WithHint("name the server's directory with --data, or its configuration with --config")
	}
	kept := all[:0]
	for _, p := range all {
		if name == "" || p.Source == name {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

// intake returns which partition of a source takes new files; -1 where each may.
func intake(s *config.Source) int {
	all := s.Partitions()
	if len(all) < 2 {
		return -1
	}
	in := spool.Intake{Link: s.Intake, Partitions: [2]spool.Partition{spool.Partition(all[0]), spool.Partition(all[1])}}
	if now, err := in.Current(); err == nil {
		return now
	}
	return -1
}

// maxHolders bounds how many processes are named.
const maxHolders = 10

// examine sees whether a partition is safe to reformat. First comes who holds
// something there: with nobody, nothing can come behind the look at the files,
// since writers come through the link, and that leads elsewhere.
func (p *partition) examine() {
	no := func(text string, args ...any) { p.Why = append(p.Why, fmt.Sprintf(text, args...)) }
	if err := (spool.Partition{Dir: p.Dir, Mounted: p.Mounted}).There(); err != nil {
		no("it is not mounted")
		return
	}
	held, all := holders.Below(p.Dir, maxHolders)
	left, err := spool.Look(p.Dir, p.Maildir)
	p.Holders, p.Leftover, p.Files = held, left, left.Waiting
	if p.Intake {
		no("it takes new files")
	}
	if left.Waiting > 0 {
		no("%d files wait", left.Waiting)
	}
	if left.Unfinished > 0 {
		no("%d files may still be completed by a writer, or were left by one", left.Unfinished)
	}
	if left.Bad > 0 {
		no("%d files are in bad/", left.Bad)
	}
	for _, h := range held {
		no("%s (process %d) has %s open", h.Program, h.PID, h.What)
	}
	if !all && len(held) == 0 {
		no("it cannot be seen who has files there open: run this as root")
	}
	if err != nil {
		no("it cannot be looked into: %s", err)
	}
	p.Drained = len(p.Why) == 0
}

func printPartitions(env *Env, all []partition) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(env.Stdout, "no source is a spool")
		return err
	}
	t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SOURCE\tDIRECTORY\tROLE\tSTATE\tWAITING\tUNFINISHED\tBAD")
	for _, p := range all {
		role := "spare"
		if p.Intake {
			role = "intake"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", oneLine(p.Source), oneLine(p.Dir), role, p.State, p.Waiting, p.Unfinished, p.Bad)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range all {
		said := "drained, safe to reformat"
		if !p.Drained {
			said = "not to be reformatted: " + strings.Join(p.Why, "; ")
		}
		if _, err := fmt.Fprintf(env.Stdout, "%s: %s\n", oneLine(p.Dir), oneLine(said)); err != nil {
			return err
		}
		for _, name := range p.Names {
			fmt.Fprintf(env.Stdout, "  %s\n", oneLine(name))
		}
	}
	return nil
}
