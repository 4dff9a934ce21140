<?php

declare(strict_types=1);

namespace Vidette\Tests;

/** Stands for the exception of symfony/http-kernel, which throws a 403 in Laravel. */
class AccessDenied extends \RuntimeException
{
}
