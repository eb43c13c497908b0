package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// newRoot returns the program with every verb.
func newRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "holdfast",
		Short: "an insert-only database that stands in front of your database",
		Long: `Holdfast takes rows as fast as the disk can make them safe, and keeps them
until every registered sink has committed them.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 damage or a broken rule found.
HOLDFAST_CONFIG, HOLDFAST_DATA and HOLDFAST_LOG stand for --config, --data and
--log where those are not given.`,
		Example:           "  holdfast serve\n  holdfast status --watch",
		Version:           readBuild().Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	group(root)
	root.AddCommand(
		newServe(env),
		newPut(env),
		newCat(env),
		newTail(env),
		newStatus(env),
		newVerify(env),
		newReconcile(env),
		newRepair(env),
		newImport(env),
		newRotate(env),
		newSpool(env),
		newDoctor(env),
		newRoll(env),
		newHold(env),
		newManifest(env),
		newThaw(env),
		newArchive(env),
		newRejects(env),
		newSink(env),
		newBench(env),
		newConfig(env),
		newProfile(env),
		newCompletion(env),
		newVersion(env),
	)
	for _, verb := range root.Commands() {
		verb.DisableFlagsInUseLine = true // each names its flags itself
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("see "+cmd.CommandPath()+" --help", "%s", flagWords(err))
	})
	return root
}

// flagWords is what was wrong with a flag, without the names of Go's functions.
func flagWords(err error) string {
	text := err.Error()
	if at := strings.Index(text, " flag: strconv."); at >= 0 {
		text = text[:at] + text[strings.LastIndex(text, ": "):]
	}
	return text
}

// group makes cmd one that only holds other verbs: alone it explains itself,
// and an unknown verb is an error.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := "see " + cmd.CommandPath() + " --help"
		cmd.SuggestionsMinimumDistance = 2
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
		return usage(hint, "unknown verb %q", args[0])
	}
}

// noArgs refuses arguments besides flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("see "+cmd.CommandPath()+" --help", "argument %q is not taken by %q", args[0], cmd.CommandPath())
	}
	return nil
}
