<?php

declare(strict_types=1);

namespace Vidette;

/** What a subscription does when events are gone. */
enum OnGap: string
{
    /** A warning is logged, then reading goes on with what is retained. */
    case Continue = 'continue';

    /** The subscription ends with a GapException. */
    case Fail = 'fail';

    /** Reads the newest event of every topic, then goes on. */
    case Snapshot = 'snapshot';
}
