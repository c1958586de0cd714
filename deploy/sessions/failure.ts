/** What went wrong, in a sentence for whoever typed the command. An empty one has been told already. */
export class Failure extends Error {}

/** The command line is wrong: the sentence is followed by the usage. */
export class UsageError extends Error {}
